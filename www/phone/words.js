// What the page says when something fails: for people, with the SIP status for those who ask further.

/** Why REGISTER failed. */
export function registrationFailure(status, reason, cause) {
  switch (status) {
    case 401: case 407: case 403:
      return 'The server refused the registration: wrong user name or password?';
    case 404:
      return 'The server does not know this user.';
    case undefined:
      return cause === 'Authentication Error'
        ? 'The server asks for a way of authentication that this page does not know, or there is no password.'
        : `The server does not answer (${cause}).`;
    default:
      return `The server refused the registration (${status} ${reason}).`;
  }
}

const ENDINGS = {
  403: 'The call is not allowed',
  404: 'There is no such number',
  408: 'No answer',
  410: 'This number is no longer in use',
  415: 'The other side cannot take this call',
  430: 'Not reachable at the moment',
  480: 'Not reachable at the moment',
  484: 'The number is incomplete',
  486: 'Busy',
  487: 'Cancelled',
  488: 'The other side shares no codec with this browser',
  500: 'The server failed',
  502: 'The server failed',
  503: 'The server cannot take the call now',
  504: 'The server did not answer in time',
  600: 'Busy',
  603: 'Declined',
  604: 'There is no such number',
  606: 'The other side shares no codec with this browser',
};

const CAUSES = {
  Canceled: 'Cancelled',
  'Connection Error': 'The connection to the server is lost',
  Expires: 'Nobody answered in time',
  'Internal Error': 'An error in this browser',
  'Missing SDP': 'The other side sent no description of its audio',
  'No ACK': 'The other side did not confirm the call',
  'No Answer': 'No answer',
  'Bad Media Description': 'The answer cannot be used by this browser',
  'Request Timeout': 'The server did not answer',
  'RTP Timeout': 'The audio connection is lost',
  'WebRTC Error': 'An error of the audio in this browser',
};

/** Why a call ended, from JsSIP's event "failed" or "ended". */
export function ending({ originator, cause, message }, failed) {
  if (!failed && cause === 'Terminated') return originator === 'local' ? 'Call ended' : 'The other side hung up';
  const status = originator === 'remote' ? message?.status_code : undefined;
  if (status) return ENDINGS[status] ?? `Call refused (${status} ${message.reason_phrase})`;
  if (originator === 'remote' && cause === 'Canceled') return 'The caller gave up';
  if (originator === 'local' && cause === 'Rejected') return 'Declined';
  return CAUSES[cause] ?? cause;
}

/** Why there is no microphone, from getUserMedia's DOMException (W3C mediacapture-streams §10.2). */
export function microphoneFailure(error) {
  switch (error.name) {
    case 'NotAllowedError': case 'SecurityError':
      return 'The microphone is refused. Allow it for this page in the browser’s address bar, then call again.';
    case 'NotFoundError': case 'OverconstrainedError':
      return 'There is no microphone. Plug one in, then call again.';
    case 'NotReadableError': case 'AbortError':
      return 'The microphone is in use by another program, or does not work.';
    case 'InsecureContext':
      return 'Browsers give the microphone to safe pages only: open this page by https, or on http://localhost.';
    default:
      return `The microphone cannot be used (${error.name}: ${error.message}).`;
  }
}
