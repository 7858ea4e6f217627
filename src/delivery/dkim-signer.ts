/** Signs a message with DKIM (RFC 6376) for delivery without a relay; nodemailer makes the signature, the message's bytes do not change. */
import DKIM from 'nodemailer/lib/dkim'

export interface DkimKey {
  readonly domain: string
  readonly selector: string
  /** PEM. */
  readonly privateKey: string
}

/** Prepends a DKIM signature to the message. */
export async function signMessage(content: Buffer, key: DkimKey): Promise<Buffer> {
  const signer = new DKIM({ domainName: key.domain, keySelector: key.selector, privateKey: key.privateKey })
  const chunks: Buffer[] = []
  for await (const chunk of signer.sign(content)) chunks.push(Buffer.from(chunk))
  const signed = Buffer.concat(chunks)
  // use only the signature of the signer's output, which may have changed the message
  return Buffer.concat([signed.subarray(0, signed.indexOf('\r\n', signatureEnd(signed)) + 2), content])
}

/** Start of the last line of the signature field, whose continuation lines begin with white space. */
function signatureEnd(signed: Buffer): number {
  let line = 0
  for (;;) {
    const next = signed.indexOf('\r\n', line) + 2
    if (signed[next] !== 0x20 && signed[next] !== 0x09) return line
    line = next
  }
}
