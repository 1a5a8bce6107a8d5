// What the command line, or the environment, says.

import { resolve } from 'node:path';

const DEFAULTS = {
  page: 'phone', // phone (served at url), jssip or sipjs (bare pages, served by ourselves)
  url: '', // needed for page phone
  server: '', // WebSocket URL; the phone page suggests one, bare pages need it
  domain: 'demo.example',
  user: '1000',
  password: 'demo-1000',
  user2: '1001',
  password2: 'demo-1001',
  echo: '600',
  tone: '601',
  rings: '602',
  busy: '603',
  target: '', // whom "remote-hangup" calls, and "call" does
  frequency: '1000', // of our own fake microphone, Hz
  hear: '', // Hz expected from the other side in "incoming" and "call"; empty: none is checked
  keys: '', // keys that "incoming" and "call" send
  end: 'remote', // who hangs up in "incoming" and "call": local or remote
  timeout: '20', // seconds for each step
  artifacts: 'artifacts',
  chromium: '/usr/bin/chromium',
  ice: '', // tcp: the page sees no candidates but TCP; relay: its connections use TURN alone
  red: '', // anything: pages would rather send redundant sound (RFC 2198) than Opus alone
  headed: '', // anything: show the window
};

/** Reads --name value pairs and scenario names; PHONE_<NAME>, CHROMIUM and ARTIFACTS come from the environment. */
export function readOptions(args, environment) {
  const options = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = environment[`PHONE_${name.toUpperCase()}`];
    if (value !== undefined) options[name] = value;
  }
  if (environment.CHROMIUM) options.chromium = environment.CHROMIUM;
  if (environment.ARTIFACTS) options.artifacts = environment.ARTIFACTS;
  const scenarios = [];
  for (let i = 0; i < args.length; i++) {
    if (!args[i].startsWith('--')) {
      scenarios.push(args[i]);
      continue;
    }
    const [name, inline] = args[i].slice(2).split(/=(.*)/s);
    if (!(name in DEFAULTS)) throw new Error(`unknown option --${name}`);
    options[name] = inline ?? args[++i] ?? '';
  }
  if (options.page === 'phone' && !options.url) throw new Error('--url is missing: where is the phone page?');
  options.artifacts = resolve(options.artifacts);
  options.timeout = Number(options.timeout) * 1000;
  options.frequency = Number(options.frequency);
  options.hear = Number(options.hear);
  return { options, scenarios };
}
