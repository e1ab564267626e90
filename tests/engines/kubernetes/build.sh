#!/usr/bin/env bash
# Build a real Kubernetes (API server, controller manager, scheduler, kubelet; 1.20.2) from Debian's own
# source package with Debian's Go 1.19, once; later calls find it in the cache and return at once.
# About ten minutes on two idle cores, 5 GB of disk while it builds, and the network for apt.
#
#   tests/engines/kubernetes/build.sh [CACHE]      prints the folder of the binaries
#
# Needs Debian's dpkg-dev, golang-1.19-go, rsync and make, and etcd-server to run what it builds; root, for apt.
set -euo pipefail
cache=$(realpath -m "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/kubernetes-1.20}")
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet"
have_all() { local p; for p in $programs; do [[ -x $cache/bin/$p ]] || return 1; done; }
if have_all; then echo "$cache/bin"; exit 0; fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/kubernetes-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# The machine's own package sources, as sources of source packages, in a private list.
mkdir -p lists/partial
sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >src.sources
apt=(-o Dir::Etc::sourcelist="$work/src.sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists"
     -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update >&2
apt-get "${apt[@]}" source --download-only kubernetes >&2
mkdir src
tar -xzf kubernetes_*.orig.tar.gz -C src --strip-components=1
tar -xJf kubernetes_*.debian.tar.xz -C src
cd src
patch -p1 -N <debian/patches/CVE-2021-25743.patch >/dev/null || true

export PATH=/usr/lib/go-1.19/bin:$PATH GOPATH=$PWD/.go CGO_ENABLED=0 GOPROXY=off GOFLAGS= HOME=$work/home GOCACHE=$work/gocache
mkdir -p "$HOME" "$GOPATH/src/k8s.io"
[[ -L $GOPATH/src/k8s.io/kubernetes ]] || ln -s ../../.. "$GOPATH/src/k8s.io/kubernetes"
cat >"$work/version.env" <<V
KUBE_GIT_COMMIT=debian
KUBE_GIT_TREE_STATE=archive
KUBE_GIT_VERSION=v1.20.2
KUBE_GIT_MAJOR=1
KUBE_GIT_MINOR=20
V
export KUBE_GIT_VERSION_FILE=$work/version.env
make WHAT="$(printf 'cmd/%s ' $programs)" GOLDFLAGS="-s -w" >&2
mkdir -p "$cache/bin"
for p in $programs; do
  install -m 755 "$(find _output -type f -name "$p" -path '*bin*' | head -1)" "$cache/bin/$p"
done
have_all
echo "$cache/bin"
