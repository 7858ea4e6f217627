/** Which workflow asks, and what bounds it. */
export interface RunInfo {
  readonly workflowId: string
  readonly firstRunId: string
  readonly executionTimeoutMs?: number
  readonly runTimeoutMs?: number
}
