// npm run chaos: lives whose parts fail (lives.mjs), or, with --power-cuts N, a database that loses its power (power-cuts.mjs).
await import(process.argv.some((one) => one.startsWith('--power-cuts')) ? './power-cuts.mjs' : './lives.mjs')
