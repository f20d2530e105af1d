//! Heartbeats and webhooks: who is called when, whatever the other side does, and that no secret leaves its file.

mod heartbeats;
mod refused;
mod trial;
mod webhooks;
