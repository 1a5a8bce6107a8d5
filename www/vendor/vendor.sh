#!/bin/sh
# Rebuilds the vendored browser libraries: jssip/jssip.js and jssip/LICENSE.
#
# The npm package of JsSIP holds CommonJS modules only, which no browser loads. This bundles them
# once, with the libraries that they require, into one ES module. It is run by hand when a version
# below changes; neither the build nor the page needs it. The versions of all packages are pinned,
# so that two runs give the same bytes.
set -eu

packages='jssip@3.13.8 debug@4.4.3 ms@2.1.3 events@3.3.0 sdp-transform@2.15.0'
bundler='esbuild@0.28.2'

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

echo '{"private":true}' >package.json
# --ignore-scripts: a package gets no chance to run code here.
npm install --silent --no-audit --no-fund --ignore-scripts --save-exact $packages $bundler

echo "export { default } from 'jssip';" >entry.mjs
banner="/* JsSIP and what it requires ($packages), from npm. MIT licence, see LICENSE. Built by vendor.sh. */"
node_modules/.bin/esbuild entry.mjs --bundle --minify --format=esm --platform=browser \
	--target=es2020 --charset=utf8 --legal-comments=none --banner:js="$banner" --outfile="$here/jssip/jssip.js"

# Each licence asks to be kept with every copy.
for package in $packages; do
	name=${package%@*}
	text=$(ls "node_modules/$name" | grep -i '^licen[cs]e' | head -n 1)
	printf '==== %s, https://www.npmjs.com/package/%s ====\n\n' "$package" "$name"
	tr -d '\r' <"node_modules/$name/$text"
	printf '\n'
done >"$here/jssip/LICENSE"
