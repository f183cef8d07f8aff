#!/bin/sh
# Builds the image gateway-exporter with podman: contrib/container/build.sh [TARGET], x86_64 where none is named.
set -eu
cd "$(dirname "$0")/../.."
. contrib/targets.sh
. contrib/archive.sh

target="$(target_field "${1:-x86_64}" 1)"
case "$target" in
    x86_64-*) platform=linux/amd64 ;;
    aarch64-*) platform=linux/arm64 ;;
    armv7-*) platform=linux/arm/v7 ;;
    arm-*) platform=linux/arm/v6 ;;
    armv5te-*) platform=linux/arm/v5 ;;
    i686-*) platform=linux/386 ;;
    mipsel-*) platform=linux/mipsle ;;
    mips-*) platform=linux/mips ;;
    riscv64gc-*) platform=linux/riscv64 ;;
esac
binary="$(binary "$target")"
# Only the form of Docker has health checks. One time for all files, so that the same sources give the same image.
# shellcheck disable=SC2086 # the engine and its flags
${ENGINE:-podman} build --format docker --platform "$platform" --timestamp "$SOURCE_DATE_EPOCH" \
    -f contrib/container/Containerfile -t gateway-exporter -t "gateway-exporter:$(version)" "${binary%/*}"
