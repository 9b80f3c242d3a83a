// Package proxyclient reads container images through the image proxy, a child
// process that fetches and parses what registries and archives hold: `skopeo
// experimental-image-proxy`, protocol 0.2.3 and later 0.2.
//
// [OpenSource] is for whoever wants an image: it opens a reference, and gives
// the manifest, the configuration and any number of blobs at once from children
// that it starts, reuses and replaces as needed. [Start] is the protocol itself
// with one child.
//
//	Source ── pool of children ── Proxy ── wire (SEQPACKET socket, descriptors)
//	                                └───── stream (data pipe, verdict)
//
// What holds everywhere:
//
//   - Nothing waits for ever. Control calls have limits, streams must bring 1 KiB/s
//     while somebody reads, a Source's documents have a limit together; the proxy
//     has none of these. It also can't cancel, so a call that exceeds its limit
//     costs the child its life, and all its streams fail with that error.
//   - A registry that answers with status 429 may make a call wait for a minute in
//     all: the proxy waits, and the call's limit is extended. Where it asks for
//     more, the call fails with an error that says so and is not retried.
//   - The end of a stream is io.EOF only when the size was right and the proxy
//     said that all was well, or had nothing to say. Digests of blobs are the
//     caller's to check, those of configurations are checked here.
//   - The end of a context or a Close is obeyed at once. What the child still
//     sends for an abandoned call is received and discarded.
//   - Every error is an [*Error] with a [Class] from the proxy's text or code.
//   - The child has an environment of its own, an unprivileged user where one is
//     configured, a private temporary directory, and gets secrets and local paths
//     as descriptors. It never finds credentials that the caller did not mean.
package proxyclient
