# Two stages: a toolchain that builds, and an image that holds the command, the libraries it links, certificates and a user. No shell is in it.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY actions actions
COPY src src
# Named in Cargo.toml, so cargo wants it to be there.
COPY benches benches
RUN cargo build --release --locked --bin declic
# The libraries are copied from where the linker will look for them; resolving names needs nothing beside libc since glibc 2.34.
RUN set -eu; mkdir -p /out/etc/ssl/certs /out/usr/local/bin /out/var/lib/declic /out/tmp; \
    cp target/release/declic /out/usr/local/bin/; \
    ldd target/release/declic | grep -o '/[^ ]*' | xargs -I{} cp --parents --dereference {} /out/; \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \
    echo 'declic:x:65532:65532::/var/lib/declic:/nonexistent' > /out/etc/passwd; \
    echo 'declic:x:65532:' > /out/etc/group; \
    echo 'hosts: files dns' > /out/etc/nsswitch.conf; \
    chown 65532:65532 /out/var/lib/declic; chmod 1777 /out/tmp

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
WORKDIR /var/lib/declic
# Settings are mounted read-only; the store goes where the user may write.
ENV STATE_DIRECTORY=/var/lib/declic
# Cloud Run sets PORT; elsewhere the settings' `listen:` counts.
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/declic"]
CMD ["serve", "--config", "/etc/declic/declic.yaml"]
