#!/bin/sh
# The archives of a release: built a second time in another folder they are the same bytes, and they hold what they
# should. `make install` puts its files where it is told.
set -eu
. tests/packages/check.sh

# The other folder has no history to ask. What is made here stays: it is what `make dist` makes, and nothing of a test.
GATEWAY_EXPORTER_REVISION="${GATEWAY_EXPORTER_REVISION-$(contrib/revision.sh)}"
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export GATEWAY_EXPORTER_REVISION SOURCE_DATE_EPOCH
there="$WORK/another/folder"
mkdir -p "$there"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$there"
for folder in . "$there"; do
    (cd "$folder" && contrib/dist.sh x86_64 && contrib/ipk.sh x86_64 && contrib/apk.sh x86_64 && contrib/deb.sh x86_64) >"$WORK/log" 2>&1 ||
        fail "$(tail -n 20 "$WORK/log")"
done
for file in "$there"/dist/*.cdx.json "$there"/dist/*-musl.tar.gz "$there"/dist/*.ipk "$there"/dist/*.apk "$there"/dist/*.deb; do
    cmp "$file" "dist/${file##*/}" || fail "${file##*/} differs"
done
ok 'two builds in two folders give the same bytes'

name="$(basename "$there"/dist/*-musl.tar.gz .tar.gz)"
for file in gateway-exporter gateway-exporter.yaml LICENSE README.md docs/configuration.md systemd/gateway-exporter.service systemd/gateway-exporter.sysusers systemd/wireguard.conf systemd/gateway-exporter.socket completions/_gateway-exporter; do
    [ ! -e "$file" ] && [ "$file" = README.md ] || tar -tzf "dist/$name.tar.gz" "$name/$file" >/dev/null || fail "no $file"
done
(cd dist && sha256sum --quiet -c SHA256SUMS) || fail 'SHA256SUMS'
if grep -aqF "$PWD" target/cross/bin/x86_64-unknown-linux-musl/gateway-exporter; then
    fail 'the binary names the folder that it was built in'
fi
ok 'archives hold what they should, and SHA256SUMS is right'

make -s -f contrib/release.mk install DESTDIR="$WORK/root" PREFIX=/opt/gateway >/dev/null
same 'installed' './etc/gateway-exporter.yaml
./opt/gateway/bin/gateway-exporter
./opt/gateway/lib/systemd/system/gateway-exporter.service
./opt/gateway/lib/sysusers.d/gateway-exporter.conf
./opt/gateway/share/bash-completion/completions/gateway-exporter
./opt/gateway/share/fish/vendor_completions.d/gateway-exporter.fish
./opt/gateway/share/zsh/site-functions/_gateway-exporter' "$(cd "$WORK/root" && find . -type f | sort)"
grep -q '^ExecStart=/opt/gateway/bin/gateway-exporter ' "$WORK/root/opt/gateway/lib/systemd/system/gateway-exporter.service" ||
    fail 'the unit starts another binary'
echo '# mine' >"$WORK/root/etc/gateway-exporter.yaml"
make -s -f contrib/release.mk install DESTDIR="$WORK/root" PREFIX=/opt/gateway >/dev/null
same 'a second install keeps the configuration' '# mine' "$(cat "$WORK/root/etc/gateway-exporter.yaml")"
ok 'make install'
