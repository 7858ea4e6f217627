#!/usr/bin/env node
/** The softbounce command. Exit status: 0; 1 for a failure; 2 for wrong usage. */
import * as nodeModule from 'node:module'

// Node 22 and later keep compiled code between starts; before the commands are loaded
;(nodeModule as { enableCompileCache?: () => void }).enableCompileCache?.()
const { runCommand } = await import('./program.js')

const LEAVE_AFTER_MS = 500

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // the reader closed the pipe (| head)
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const status = await runCommand(process.argv.slice(2))
if (status !== 0) {
  process.exitCode = status
  // do not wait for handles that a failed start left open
  setTimeout(() => process.exit(), LEAVE_AFTER_MS).unref()
}
