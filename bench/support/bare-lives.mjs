// The bare life: for each retry a timer and a send, and at last a suppression; the sends are real, by nodemailer.
import { condition, defineSignal, proxyActivities, setHandler, sleep } from '@temporalio/workflow'

const { send, suppress } = proxyActivities({ startToCloseTimeout: '45m', retry: { initialInterval: '5s', maximumInterval: '10m' } })

export async function bareLife({ recipient, delaysMs, isConfirmed }) {
  let confirmed = false
  if (isConfirmed)
    setHandler(defineSignal('confirmed'), () => {
      confirmed = true
    })
  for (const [i, delayMs] of delaysMs.entries()) {
    await sleep(delayMs)
    if (!(await send(recipient))) continue
    if (isConfirmed) await condition(() => confirmed, '6d')
    return { outcome: 'delivered', retries: i + 1 }
  }
  await suppress(recipient)
  return { outcome: 'suppressed', retries: delaysMs.length }
}
