/** Signs a message with DKIM (RFC 6376) where we are its path: nodemailer makes the signature, the message's bytes stay as they are. */
import DKIM from 'nodemailer/lib/dkim'

export interface DkimKey {
  readonly domain: string
  readonly selector: string
  /** PEM. */
  readonly privateKey: string
}

/** The message with a signature first. */
export async function signMessage(content: Buffer, key: DkimKey): Promise<Buffer> {
  const signer = new DKIM({ domainName: key.domain, keySelector: key.selector, privateKey: key.privateKey })
  const chunks: Buffer[] = []
  for await (const chunk of signer.sign(content)) chunks.push(Buffer.from(chunk))
  const signed = Buffer.concat(chunks)
  // whatever the signer does to what it passes on, only its signature is taken
  return Buffer.concat([signed.subarray(0, signed.indexOf('\r\n', signatureEnd(signed)) + 2), content])
}

/** Where the last line of the signature begins: the field goes on while lines begin with white space. */
function signatureEnd(signed: Buffer): number {
  let line = 0
  for (;;) {
    const next = signed.indexOf('\r\n', line) + 2
    if (signed[next] !== 0x20 && signed[next] !== 0x09) return line
    line = next
  }
}
