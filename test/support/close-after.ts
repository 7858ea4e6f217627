/** Closes what tests start: the last first, when all tests of the file have run. */
import { afterAll } from 'vitest'

/** @returns a function that remembers a thing to close, and returns it. */
export function closeAfterAll(): <T extends { close(): Promise<unknown> }>(started: T) => T {
  const closers: (() => Promise<unknown>)[] = []
  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })
  return (started) => {
    closers.push(() => started.close())
    return started
  }
}
