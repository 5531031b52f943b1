/**
 * Everything that is said about the curves, made from the points alone: the plots, and the section of docs/performance.md
 * between two comments. So neither can say what was not measured, and a test sees when somebody forgot to draw.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fitModel } from '../model/cost-model.ts'
import { readCurves } from './curves-file.ts'
import { drawPlots } from './draw-plots.ts'
import { mergeRounds } from './point.ts'
import { writeSection } from './write-section.ts'

const begin = '<!-- curves: drawn by npm run bench -- --draw -->'
const end = '<!-- curves: end -->'

export interface Drawing {
  /** By file name. */
  readonly plots: ReadonlyMap<string, string>
  readonly section: string
}

/** `folder` holds curves.json. */
export function makeDrawing(folder: string): Drawing {
  const file = readCurves(join(folder, 'curves.json'))
  const points = mergeRounds(file.points)
  const model = fitModel(points)
  const plots = drawPlots(points, model)
  return { plots, section: writeSection({ file, points, model, plots: [...plots.keys()] }) }
}

/** Draws into the folder, and into the page beside it if that has a place for it. Returns what it wrote. */
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

/** Undefined when the page has no place for it. */
export function replaceSection(text: string, section: string): string | undefined {
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) return undefined
  return `${text.slice(0, from + begin.length)}\n${section}\n${text.slice(to)}`
}
