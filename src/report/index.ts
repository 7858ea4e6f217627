/** The figures as a person reads them: text for a terminal, one HTML file for a browser. */
export { htmlReport } from './html.js'
export { textReport } from './text.js'
