export * from './codec.js'
export * from './data-converter.js'
export * from './names.js'
