/**
 * DANE (RFC 6698, RFC 7672): verifies a certificate against a host's TLSA records of usages 2 (DANE-TA) and 3 (DANE-EE); the others do not
 * apply to SMTP (RFC 7672 section 3.1.3).
 */
import { createHash, X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'

/** A record as Node's resolver returns it. */
export interface TlsaRecord {
  readonly certUsage: number
  readonly selector: number
  readonly match: number
  readonly data: ArrayBuffer | Buffer
}

/** The usable records; without any, TLS is required but the certificate is not verified (RFC 7672 section 2.2). */
export const usableRecords = (records: readonly TlsaRecord[]): TlsaRecord[] =>
  records.filter(({ certUsage, selector, match }) => (certUsage === 2 || certUsage === 3) && selector <= 1 && match <= 2)

/** Why the host's certificate fails verification, or null. */
export function checkDane(shown: DetailedPeerCertificate, records: readonly TlsaRecord[], host: string, now: Date): string | null {
  if (shown.raw === undefined) return 'it shows no certificate'
  const leaf = new X509Certificate(shown.raw)
  if (records.some((record) => record.certUsage === 3 && isNamed(leaf, record))) return null
  for (const anchor of anchorsOf(shown, leaf, now))
    if (records.some((record) => record.certUsage === 2 && isNamed(anchor, record)))
      return leaf.checkHost(host) === undefined ? `its certificate is not for ${host}` : null
  return 'its certificate is none of those that its TLSA records name'
}

/** The issuers in the leaf's chain, each signature verified; the leaf and the certificates in between must be valid now. */
function anchorsOf(shown: DetailedPeerCertificate, leaf: X509Certificate, now: Date): X509Certificate[] {
  const anchors: X509Certificate[] = []
  const seen = new Set<string>()
  let below = leaf
  for (let next = shown.issuerCertificate; next?.raw !== undefined && !seen.has(next.fingerprint256); next = next.issuerCertificate) {
    seen.add(next.fingerprint256)
    const issuer = new X509Certificate(next.raw)
    const valid = new Date(below.validFrom) <= now && now <= new Date(below.validTo)
    if (!valid || !issuer.ca || !below.checkIssued(issuer) || !below.verify(issuer.publicKey)) break
    anchors.push(issuer)
    below = issuer
  }
  return anchors
}

function isNamed(certificate: X509Certificate, { selector, match, data }: TlsaRecord): boolean {
  const bytes = selector === 0 ? certificate.raw : certificate.publicKey.export({ type: 'spki', format: 'der' })
  const shown =
    match === 0
      ? bytes
      : createHash(match === 1 ? 'sha256' : 'sha512')
          .update(bytes)
          .digest()
  return shown.equals(Buffer.from(data as ArrayBuffer))
}
