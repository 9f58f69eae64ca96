# A static binary, the certificates to reach HubSpot and Supabase, and nothing
# else: no shell, no package manager, not root.
FROM golang:1.26-bookworm AS build
WORKDIR /src

# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags timetzdata \
      -ldflags "-s -w -X main.buildVersion=${VERSION}" -o /out/hubtail ./cmd/hubtail
# Folders the binary writes to; scratch has none and no mkdir. /tmp is copied as part of a tree: of a folder that is copied
# itself only the content comes along, not who may write to it.
RUN mkdir -p /out/data /out/root/tmp && chmod 1777 /out/root/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/root /
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/hubtail /hubtail
USER 65532:65532
ENV HUBTAIL_DATA_DIR=/data HUBTAIL_LOG_FORMAT=json
ENTRYPOINT ["/hubtail"]
