// Waiting for what another process does.

import { setTimeout as pause } from 'node:timers/promises';

/** Asks done() again and again; after timeout (ms) it throws "no <what>". what may be a function. */
export async function until(what, timeout, done, every = 50) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await done();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`no ${typeof what === 'function' ? what() : what}`);
    await pause(every);
  }
}

/** Throws unless got is what is wanted; a regular expression must match. */
export function expect(what, got, want) {
  const right = want instanceof RegExp ? want.test(got) : got === want;
  if (!right) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${want}`);
}
