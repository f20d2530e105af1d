# The program and nothing else: it is static, and brings its own time zones and roots of trust.
# scripts/build-image makes the program and then this image of it, without a daemon.
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
# A number, for Kubernetes cannot tell of a name whether it is root.
USER 65532:65532
ENTRYPOINT ["/pgbackrest-keeper"]
