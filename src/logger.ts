/** The logger: pino, with the workflow ID in each line that concerns a workflow. Lines hold no message content. */
import type { LogEntry, LogLevel, Logger as TemporalLogger } from '@temporalio/worker'
import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger }

/** Structured logging; pino's shape. Fields never hold a message's content. */
export interface Log {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
}

/** Levels as `log.level` names them. */
export type Level = 'debug' | 'info' | 'warn' | 'error'

export function createLogger(level: Level, destination?: DestinationStream): Logger {
  const options = {
    formatters: { level: (label: string) => ({ level: label }) },
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: 'message',
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

const LEVELS: Record<LogLevel, Level> = { TRACE: 'debug', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' }

/** Writes Temporal's own log lines through our logger. */
export class ThroughPino implements TemporalLogger {
  constructor(private readonly logger: Logger) {}

  log(level: LogLevel, message: string, meta?: LogEntry['meta']): void {
    const { workflowId, runId, activityType, attempt, error, ...rest } = (meta ?? {}) as Record<string, unknown>
    const fields = { workflowId, runId, activityType, attempt, ...(error === undefined ? {} : { error: textOf(error) }) }
    // the SDK's other fields help only to debug the SDK itself
    const more = this.logger.isLevelEnabled('debug') ? { sdk: withoutErrors(rest) } : {}
    this.logger[LEVELS[level]]({ ...fields, ...more }, message)
  }

  trace(message: string, meta?: LogEntry['meta']): void {
    this.log('TRACE', message, meta)
  }
  debug(message: string, meta?: LogEntry['meta']): void {
    this.log('DEBUG', message, meta)
  }
  info(message: string, meta?: LogEntry['meta']): void {
    this.log('INFO', message, meta)
  }
  warn(message: string, meta?: LogEntry['meta']): void {
    this.log('WARN', message, meta)
  }
  error(message: string, meta?: LogEntry['meta']): void {
    this.log('ERROR', message, meta)
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const withoutErrors = (fields: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)))
