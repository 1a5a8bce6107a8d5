// Live quality of a call from RTCPeerConnection.getStats (W3C webrtc-stats).

const WINDOW = 5; // readings that loss is counted over: one second of silence must not read as 0 %

export class QualityMeter {
  #received = [];

  /** Reads once: {codec, rtt, jitter, loss}, in milliseconds and percent; undefined where unknown yet. */
  async read(connection) {
    const stats = [...(await connection.getStats()).values()];
    const find = (type) => stats.find((s) => s.type === type && (s.kind ?? 'audio') === 'audio');
    const inbound = find('inbound-rtp');
    const codec = stats.find((s) => s.type === 'codec' && s.id === inbound?.codecId);
    return {
      codec: codec && codecName(codec),
      rtt: milliseconds(find('remote-inbound-rtp')?.roundTripTime ?? selectedPair(stats)?.currentRoundTripTime),
      jitter: milliseconds(inbound?.jitter),
      loss: inbound && this.#loss(inbound),
    };
  }

  /** Loss over the last readings, not since the beginning: it is to show how it is now. */
  #loss({ packetsReceived: got = 0, packetsLost: lost = 0 }) {
    this.#received.push({ got, lost });
    if (this.#received.length > WINDOW + 1) this.#received.shift();
    const first = this.#received[0];
    const dLost = Math.max(0, lost - first.lost); // late packets make it fall
    const all = got - first.got + dLost;
    return all > 0 ? (100 * dLost) / all : undefined;
  }
}

/** "Opus", "G.711 µ", … as people know them. The clock rate is told where it says something. */
function codecName({ mimeType, clockRate }) {
  const name = mimeType.replace(/^audio\//i, '');
  const known = { opus: 'Opus', PCMU: 'G.711 µ', PCMA: 'G.711 A', G722: 'G.722' };
  return known[name] ?? `${name}/${clockRate}`;
}

const milliseconds = (seconds) => (seconds === undefined ? undefined : seconds * 1000);

function selectedPair(stats) {
  const id = stats.find((s) => s.type === 'transport')?.selectedCandidatePairId;
  return stats.find((s) => s.id === id);
}

/** How a value sounds: good, fair or poor. Bounds after ITU-T G.114 (delay) and common VoIP practice. */
export function grade(name, value) {
  const [fair, poor] = { rtt: [200, 400], loss: [1, 5], jitter: [30, 60] }[name];
  if (value === undefined) return '';
  return value >= poor ? 'poor' : value >= fair ? 'fair' : 'good';
}
