/** Routes of destinations to ports of this machine, for `SOFTBOUNCE_ROUTES`. */
export const routes = (ports) =>
  JSON.stringify(Object.entries(ports).map(([destination, port]) => ({ destination, host: '127.0.0.1', port })))
