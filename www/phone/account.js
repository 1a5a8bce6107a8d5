// The account: what the person typed, what this browser remembers, what the gateway suggests.

const KEY = 'webrtc2sip.account';

/** What the gateway suggests; the page works without it, served from anywhere. */
export async function loadDefaults() {
  const nothing = { realm: '', wsPort: 0, wssPort: 0, users: [], testNumbers: [] };
  try {
    const response = await fetch('config.json', { cache: 'no-store' });
    return response.ok ? { ...nothing, ...await response.json() } : nothing;
  } catch {
    return nothing;
  }
}

/**
 * The WebSocket URL of the gateway that served this page. A page from https may open wss only
 * (browsers refuse mixed content), one from http takes ws where there is a listener for it.
 */
export function suggestServer(defaults, location) {
  const { wsPort, wssPort } = defaults;
  const host = location.hostname;
  if (location.protocol !== 'https:' && wsPort) return `ws://${host}:${wsPort}`;
  return wssPort ? `wss://${host}:${wssPort}` : '';
}

export function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is off, or holds what an older page wrote
  }
}

/** Everything but the password. */
export function remember({ server, user, displayName, voiceProcessing, camera }) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ server, user, displayName, voiceProcessing, camera }));
  } catch {
    // Private windows may have no storage. The page works as well, it only forgets.
  }
}

/** The SIP address of what was typed as user: 1000, 1000@example.com or sip:1000@example.com. */
export function addressOfRecord(user, realm, server) {
  const bare = user.trim().replace(/^sips?:/i, '');
  if (bare.includes('@')) return `sip:${bare}`;
  return `sip:${bare}@${realm || new URL(server).host}`;
}

/** The server as a WebSocket URL, or null if it cannot be one. */
export function serverURL(text) {
  const typed = text.trim();
  try {
    const url = new URL(/^[a-z]+:\/\//i.test(typed) ? typed : `wss://${typed}`);
    return ['ws:', 'wss:'].includes(url.protocol) && url.hostname ? url.href.replace(/\/$/, '') : null;
  } catch {
    return null;
  }
}
