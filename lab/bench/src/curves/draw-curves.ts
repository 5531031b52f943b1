/**
 * Generates the plots, and the text of docs/performance.md between two marking comments, from the
 * measurements in curves.json alone. So the page cannot claim anything that was not measured, and a
 * test notices an outdated page.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fitModel } from '../model/cost-model.ts'
import { readCurves } from '../points/curves-file.ts'
import { drawPlots } from './draw-plots.ts'
import { mergeRounds } from '../points/point.ts'
import { writeSection } from './write-section.ts'

const begin = '<!-- curves: drawn by npm run bench -- --draw -->'
const end = '<!-- curves: end -->'

export interface Drawing {
  /** SVG text of each plot, by file name. */
  readonly plots: ReadonlyMap<string, string>
  readonly section: string
}

/**
 * Generates the plots and the text for the performance page. `folder` contains the measurements in
 * curves.json.
 */
export function makeDrawing(folder: string): Drawing {
  const file = readCurves(join(folder, 'curves.json'))
  const points = mergeRounds(file.points)
  const model = fitModel(points)
  const plots = drawPlots(points, model)
  return { plots, section: writeSection({ file, points, model, plots: [...plots.keys()] }) }
}

/**
 * Writes the plots to the folder. Also writes the generated text to the Markdown page with the
 * same name as the folder, if that page has the two marking comments.
 * Returns the paths of the written files.
 */
export function drawCurves(folder: string): string[] {
  const { plots, section } = makeDrawing(folder)
  const written: string[] = []
  for (const [name, svg] of plots) {
    writeFileSync(join(folder, name), svg)
    written.push(join(folder, name))
  }
  const page = `${folder}.md`
  const text = existsSync(page) ? readFileSync(page, 'utf8') : ''
  const replaced = replaceSection(text, section)
  if (replaced !== undefined) {
    writeFileSync(page, replaced)
    written.push(page)
  }
  return written.map((path) => relative(process.cwd(), path))
}

/**
 * Replaces the generated text between the two marking comments of a page. Returns undefined if the
 * page lacks these comments.
 */
export function replaceSection(text: string, section: string): string | undefined {
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) return undefined
  return `${text.slice(0, from + begin.length)}\n${section}\n${text.slice(to)}`
}
