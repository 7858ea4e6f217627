// Injects faults while the workflows run, one after another.
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * @param faults receives `{ kind, worker?, at, until }` for each fault.
 * @returns a function that stops the faults and resolves when everything is up again.
 */
export function startFaults({ random, workers, temporal, database, proxies, folder, relay, say }, faults) {
  let going = true
  let filled = false
  const during = async (kind, more, break_, mend) => {
    const fault = { kind, ...more, at: Date.now(), until: null }
    faults.push(fault)
    say(`${kind}${more.worker === undefined ? '' : ` ${more.worker}`}`)
    await break_()
    await mend()
    fault.until = Date.now()
  }
  const kinds = {
    'kill a worker': async () => {
      const worker = random.pick(workers)
      const later = random.between(200, 3000)
      await during(
        'kill',
        { worker: worker.name },
        () => worker.signal('SIGKILL'),
        async () => {
          await worker.ended
          await sleep(later)
          worker.start()
        },
      )
    },
    'stop a worker': async () => {
      const worker = random.pick(workers)
      const ms = random.between(500, 12_000)
      await during(
        'freeze',
        { worker: worker.name },
        () => worker.signal('SIGSTOP'),
        async () => {
          await sleep(ms)
          worker.signal('SIGCONT')
        },
      )
    },
    'restart a worker': async () => {
      const worker = random.pick(workers)
      await during(
        'restart',
        { worker: worker.name },
        () => worker.signal('SIGTERM'),
        async () => {
          await Promise.race([worker.ended, sleep(15_000)])
          worker.signal('SIGKILL')
          await worker.ended
          worker.start()
        },
      )
    },
    ...Object.fromEntries(
      Object.entries(temporal.faults).map(([name, { run }]) => [
        name,
        () => run((kind, break_, mend) => during(kind, {}, break_, mend), random),
      ]),
    ),
    'cut connections': async () => {
      const which = random.pick(Object.keys(proxies))
      await during(
        `connections to ${which} cut`,
        {},
        () => proxies[which].cut(),
        async () => {},
      )
    },
    'relay away': async () => {
      const ms = random.between(500, 5000)
      await during(
        'relay away',
        {},
        () => relay.close(),
        async () => {
          await sleep(ms)
          await relay.open()
        },
      )
    },
    ...(database.start === undefined
      ? {}
      : {
          'database away': async () => {
            const ms = random.between(300, 3000)
            await during(
              'database away',
              {},
              () => database.stop(),
              async () => {
                await sleep(ms)
                await database.start()
              },
            )
          },
        }),
    ...(folder.canBeFilled
      ? {
          'disk full': async () => {
            if (filled) return
            filled = true
            await during(
              'disk full',
              {},
              () => folder.fill(),
              async () => {
                await sleep(3000)
                folder.empty()
              },
            )
          },
        }
      : {}),
  }
  const weights = {
    'kill a worker': 5,
    'stop a worker': 3,
    'restart a worker': 2,
    ...Object.fromEntries(Object.entries(temporal.faults).map(([name, { weight }]) => [name, weight])),
    'cut connections': 2,
    'relay away': 2,
    ...('database away' in kinds ? { 'database away': 2 } : {}),
    ...('disk full' in kinds ? { 'disk full': 1 } : {}),
  }
  const lane = async () => {
    while (going) {
      await sleep(random.between(300, 2500))
      if (!going) return
      await kinds[random.weighted(weights)]()
    }
  }
  const running = lane()
  return {
    end: async () => {
      going = false
      await running
      for (const worker of workers) if (!worker.isUp) worker.start()
    },
  }
}
