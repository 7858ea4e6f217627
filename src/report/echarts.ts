/** The parts of ECharts that the report uses. When built, this file holds them: users do not install ECharts. */
export { BarChart, CustomChart } from 'echarts/charts'
export { GridComponent, LegendComponent, MarkLineComponent } from 'echarts/components'
export * as echarts from 'echarts/core'
export { SVGRenderer } from 'echarts/renderers'
