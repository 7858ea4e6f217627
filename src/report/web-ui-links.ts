/** Links from the report into Temporal's Web UI. */

/** Where the Web UI shows the workflows. */
export interface WebUi {
  /** Such as `http://localhost:8233`. */
  readonly url: string
  readonly namespace: string
}

/** The Web UI of a Temporal at this address, if it is a usual one: that of a development server on this machine (its port plus 1000), or of Temporal Cloud. */
export function usualWebUi(address: string | undefined): string | null {
  const url = `tcp://${address ?? 'localhost:7233'}`
  if (!URL.canParse(url)) return null
  const { hostname, port } = new URL(url)
  if (/\.(?:tmprl\.cloud|api\.temporal\.io)$/.test(hostname)) return 'https://cloud.temporal.io'
  return ['localhost', '127.0.0.1', '[::1]'].includes(hostname) && port !== '' ? `http://localhost:${Number(port) + 1000}` : null
}

/** The configured Web UI, or the usual one; null if there is none. */
export function webUiOf(configured: string | null, address: string | undefined, namespace: string): WebUi | null {
  const url = configured ?? usualWebUi(address)
  return url === null ? null : { url, namespace }
}

const workflows = ({ url, namespace }: WebUi) => `${url.replace(/\/+$/, '')}/namespaces/${encodeURIComponent(namespace)}/workflows`

/** The latest run of a workflow. */
export const workflowLink = (ui: WebUi, workflowId: string): string => `${workflows(ui)}/${encodeURIComponent(workflowId)}`

/** The open retries for a destination. */
export const destinationLink = (ui: WebUi, destination: string): string => {
  const quoted = destination.replace(/[\\']/g, (character) => `\\${character}`)
  return `${workflows(ui)}?query=${encodeURIComponent(`BounceDestination = '${quoted}' AND ExecutionStatus = 'Running'`)}`
}
