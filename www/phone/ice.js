// The STUN and TURN servers that the gateway lends to its clients, and the settings of a call's
// connection that follow from them.

// Most gateways lend none: they see the browser's address by themselves (ICE peer reflexive candidates), so that
// nothing has to be asked before a call can go out.
let iceServers = [];
let renewal = 0;

/** What a new RTCPeerConnection gets. */
export function connectionSettings() {
  return { iceServers, bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' };
}

/**
 * Asks the gateway for its servers, which it tells to registered clients. What it gives expires, so
 * that it is asked again in half of that time. A call never waits for the answer.
 */
export async function borrowServers() {
  clearTimeout(renewal);
  try {
    const response = await fetch('ice-servers');
    if (!response.ok) return;
    const answer = await response.json();
    iceServers = answer.iceServers;
    if (answer.lifetime > 0) renewal = setTimeout(borrowServers, answer.lifetime * 500);
  } catch {
    // Not a gateway of ours: the page works without.
  }
}
