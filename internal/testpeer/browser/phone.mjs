// Drives browsers through calls. See README.md.
//
//	node phone.mjs [--option value]... scenario...
//
// Each line of the standard output is a JSON object, {"event": …}: what happened, and at the end of
// each scenario {"event":"result","scenario":…,"ok":…}. What failed is told in words on the standard
// error. Exit code: 0 if all scenarios succeeded, 1 if one failed, 2 for a wrong command line.

import { readOptions } from './lib/options.mjs';
import * as scenarios from './lib/scenarios.mjs';
import { Stage } from './lib/stage.mjs';

/** Those that need nothing but the SIP server with its test numbers and two users. */
const SETS = {
  bare: ['echo', 'tone', 'hold', 'held', 'dtmf', 'pair', 'decline', 'failures'],
  all: ['echo', 'tone', 'hold', 'held', 'mute', 'dtmf', 'pair', 'decline', 'failures',
    'refused', 'wrongPassword', 'hostile', 'lost', 'keyboard', 'looks'],
};

function usage() {
  const names = Object.keys(scenarios).join(' ');
  process.stderr.write(`usage: node phone.mjs [--option value]... scenario...\nscenarios: ${names}\nsets: all bare\n`);
  process.exit(2);
}

async function run(name, options) {
  const began = Date.now();
  const tell = (event, details = {}) => process.stdout.write(`${JSON.stringify({ event, scenario: name, ...details })}\n`);
  const stage = new Stage(options, tell);
  let error = null;
  try {
    await scenarios[name](stage);
    stage.check();
  } catch (e) {
    error = e;
    process.stderr.write(`${name}: ${e.stack ?? e}\npages: ${await stage.describe()}\n`);
    await stage.photograph(`failed-${options.page}-${name}`);
  }
  await stage.close().catch((e) => process.stderr.write(`${name}: closing: ${e}\n`));
  tell('result', { page: options.page, ok: !error, seconds: (Date.now() - began) / 1000, error: error?.message });
  return !error;
}

let parsed;
try {
  parsed = readOptions(process.argv.slice(2), process.env);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  usage();
}
const names = parsed.scenarios.flatMap((name) => SETS[name] ?? [name]);
if (names.length === 0 || names.some((name) => !(name in scenarios))) usage();
let ok = true;
for (const name of names) ok = await run(name, parsed.options) && ok;
process.exitCode = ok ? 0 : 1;
