/** What is used of mx-connect, which brings no types. */
declare module 'mx-connect' {
  import type { DetailedPeerCertificate } from 'node:tls'

  type Callback = (error: NodeJS.ErrnoException | null, records?: never) => void
  interface Options {
    readonly target: string
    readonly port?: number
    readonly dnsOptions?: {
      readonly ignoreIPv6?: boolean
      readonly preferIPv6?: boolean
      readonly blockLocalAddresses?: boolean
      readonly resolve?: (name: string, typeOrCallback: string | Callback, callback?: Callback) => void
    }
    readonly connectHook?: (
      delivery: { readonly mx: readonly mxConnect.MxHost[] },
      options: object,
      callback: (error?: Error) => void,
    ) => void
    readonly dane?: { readonly enabled: boolean; readonly resolveTlsa?: (name: string) => Promise<readonly mxConnect.TlsaRecord[]> }
  }
  function mxConnect(options: Options): Promise<unknown>
  namespace mxConnect {
    interface TlsaRecord {
      readonly usage: number
      readonly selector: number
      readonly mtype: number
      readonly cert: ArrayBuffer | Buffer
    }
    interface MxHost {
      readonly exchange: string
      readonly priority: number
      /** False: the domain has no MX, and is its own host (RFC 5321 5.1). */
      readonly mx: boolean
      readonly A: readonly string[]
      readonly AAAA: readonly string[]
      readonly tlsaRecords?: readonly TlsaRecord[] | null
      readonly daneLookupFailed?: boolean
    }
    const dane: {
      readonly hasNativeResolveTlsa: boolean
      verifyCertAgainstTlsa(
        certificate: DetailedPeerCertificate,
        records: readonly TlsaRecord[],
        chain: readonly DetailedPeerCertificate[],
      ): { readonly valid: boolean; readonly error: string | null }
    }
  }
  export = mxConnect
}
