// The worker of the bare lives: nodemailer's pool, and a suppression that is a line in memory.
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker'
import { createTransport } from 'nodemailer'

const { address, bundle, port } = JSON.parse(process.argv[2])
Runtime.install({ logger: new DefaultLogger('ERROR') })
const pool = createTransport({ host: '127.0.0.1', port, pool: true, maxConnections: 20, ignoreTLS: true })
const suppressed = new Set()
const text = 'Thank you for your order.\r\n'.repeat(40)
const activities = {
  send: (recipient) =>
    pool
      .sendMail({
        envelope: { from: 'bounces@example.com', to: recipient },
        raw: `From: shop@example.com\r\nTo: ${recipient}\r\n\r\n${text}`,
      })
      .then(
        () => true,
        () => false,
      ),
  suppress: async (recipient) => void suppressed.add(recipient),
}
const connection = await NativeConnection.connect({ address })
const worker = await Worker.create({
  ...{ connection, activities, taskQueue: 'bare', workflowBundle: { codePath: bundle } },
  maxConcurrentActivityTaskExecutions: 200,
})
process.stdout.write('ready\n')
process.once('SIGTERM', () => worker.shutdown())
await worker.run()
process.exit()
