// A worker of a team, on its own task queue, with softbounce beside it in the same process.
//   npm install softbounce @temporalio/worker @temporalio/client @temporalio/workflow @temporalio/activity @temporalio/common @temporalio/envconfig
//   SOFTBOUNCE_DATABASE_URL=... SOFTBOUNCE_RELAY_URL=... node plugin-worker.mjs
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { NativeConnection, Worker } from '@temporalio/worker'
import { fromEnvironment } from 'softbounce'
import { softbouncePlugin } from 'softbounce/plugin'

const { connectionOptions, namespace = 'default' } = loadClientConnectConfig()
const connection = await NativeConnection.connect(connectionOptions)
const worker = await Worker.create({
  connection,
  namespace,
  taskQueue: 'invoices',
  activities: { sendInvoice: async () => 'sent' },
  plugins: [await softbouncePlugin({ connection, namespace, ...fromEnvironment() })],
})
console.log('the worker is ready')
await worker.run()
await connection.close()
