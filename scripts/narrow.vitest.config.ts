import { defineConfig } from 'vitest/config'

/** Runs single tests that need no server: `npx vitest run test/dsn/NAME.test.ts --config scripts/narrow.vitest.config.ts`. */
// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({ test: { include: ['test/**/*.test.ts'] } })
