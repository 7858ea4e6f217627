/** Types for the part of mx-connect that we use; it ships none. */
declare module 'mx-connect' {
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
    readonly dane?: { readonly enabled: boolean; readonly resolveTlsa?: (name: string) => Promise<readonly unknown[]> }
  }
  function mxConnect(options: Options): Promise<unknown>
  namespace mxConnect {
    interface MxHost {
      readonly exchange: string
      readonly priority: number
      /** False: the domain has no MX, and is its own host (RFC 5321 5.1). */
      readonly mx: boolean
      readonly A: readonly string[]
      readonly AAAA: readonly string[]
      /** As the resolver returned them. */
      readonly tlsaRecords?: readonly unknown[] | null
      readonly daneLookupFailed?: boolean
    }
  }
  export = mxConnect
}
