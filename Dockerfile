# Only the static program, which includes time zones and root certificates.
# scripts/build-image builds the program and this image, without a daemon.
FROM scratch
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="pgbackrest-keeper" \
      org.opencontainers.image.description="Keeps pgBackRest backups of PostgreSQL running and tells the truth about them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE NOTICES pgbackrest-keeper /
# Numeric, because Kubernetes cannot verify that a user name is not root.
USER 65532:65532
ENTRYPOINT ["/pgbackrest-keeper"]
