/** The calling workflow and its timeouts. */
export interface RunInfo {
  readonly workflowId: string
  readonly firstRunId: string
  readonly executionTimeoutMs?: number
  readonly runTimeoutMs?: number
}
