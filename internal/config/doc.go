// Package config reads config.xml once and turns it into typed values, so that nobody else sees XML.
//
// The file keeps the element names and the syntax of webrtc2sip 2.7:
//
//	<config>
//	  <transport>ws;*;10060</transport>         protocol;address;port, * = every address, any port
//	  <outbound-proxy>*;sip:192.0.2.1:5060</outbound-proxy>
//	</config>
//
// The name of an element decides, compared without case, at whatever depth it stands; elements that only
// hold other elements are grouping and may have any name. Values are trimmed, lists are separated by
// semicolons. An element given twice counts once, the last one, unless it is repeatable, as the table in
// elements.go says. docs/configuration.md describes them all.
//
// One element is more than its text. A trunk holds elements of its own, whose names mean something in there alone:
//
//	<trunk name="t1">
//	  <uri>sip:trunk.example.net</uri>
//	  <user>4930123</user>
//	  <password>…</password>
//	</trunk>
//
// What only shows when elements are seen together is checked at the end of the file: groups that are named
// and do not exist, ports that two sockets would take, ways in that lack what they need.
//
// An old file must keep loading, and a typing mistake must not pass as silence. So a name is one of three:
//
//   - served: its value is checked here, and a wrong one is an *Error with the file, the line, the element
//     and what is allowed;
//   - known from 2.7 but not served: a [Warning] that says so, in [Config.Warnings];
//   - unknown: an *Error that names the nearest known element.
//
// The input is limited ([MaxSize], 32 levels), a DOCTYPE is refused, and entities other than the five of
// XML are errors, so that no file can make the reader fetch or grow anything. Values that hold secrets
// are never quoted in an error; those of type [Secret] are not shown by any way of printing a Config either.
//
// The package opens no socket, resolves no name and reads no file but the one it is given: certificate
// and key paths are checked by the command that loads them. Everything is a plain function; nothing is kept.
package config
