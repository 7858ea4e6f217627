import { defineConfig } from 'vitest/config'

// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/counts-reporter.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // on two cores, since most of them wait for something
    maxWorkers: 3,
  },
})
