#!/usr/bin/env node
/** The softbounce command. Exit status 0; 1 for a failure; 2 for wrong use. */
import { runCommand } from './program.js'

const LEAVE_AFTER_MS = 500

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // the reader has seen enough (| head)
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const status = await runCommand(process.argv.slice(2))
if (status !== 0) {
  process.exitCode = status
  // whatever a failed start has left open
  setTimeout(() => process.exit(), LEAVE_AFTER_MS).unref()
}
