/**
 * Keeps what is read where it is (rule READ1). A list changes for many reasons: rows come, go and grow, the window changes its
 * size, a bar appears above. Browsers keep a place only in some of these cases, and Safari in none. So the place is state here:
 * the row being read and its distance from the top of the window, or the end of the list. Only scrolling changes the place.
 * After everything else the scroll position is put right until the place is true again, before anything is painted.
 */
import { RowHeights, type RowRange } from './message-list-layout.ts'

/** Up to this far from the end, the last line is on the screen: that is the end. */
export const atEndPx = 30
/** Rows this far outside the screen must be in the page … */
const neededPx = 400
/** … and this many more are drawn at once, so that not every step of scrolling draws. */
const drawnPx = 1_000
/** Farther away, rows are taken out of the page. */
const keptPx = 2_400

export interface RowName {
  readonly key: string
  readonly seq: number | undefined
}

export interface Place {
  readonly isAtEnd: boolean
  /** The row being read; undefined before there is one. */
  readonly row: RowName | undefined
  /** Where that row begins, from the top of the window. */
  readonly topPx: number
  /** How high it was: a row that begins above the screen keeps the part of it that was read when lines break anew. */
  readonly heightPx: number
}

export interface ShownRows {
  readonly first: number
  readonly last: number
  /** Where the first begins, from the top of the list. */
  readonly firstTopPx: number
  readonly scrolledPx: number
}

const startPlace: Place = { isAtEnd: true, row: undefined, topPx: 0, heightPx: 0 }

/** What the list must do to make the place true. */
export type Restored =
  | { readonly state: 'right' }
  /** Rows are missing in the page: draw these and restore again; at once when there is a hole on the screen. */
  | { readonly state: 'draw'; readonly range: RowRange; readonly isUrgent: boolean }
  /** The row being read is not in the list any more. */
  | { readonly state: 'lost'; readonly place: Place }

export class ListScroller {
  readonly heights = new RowHeights()
  #scroller: HTMLElement | undefined
  #list: HTMLElement | undefined
  #rows: readonly RowName[] = []
  #indexes = new Map<string, number>()
  #range: RowRange = { from: 0, to: 0 }
  #place = startPlace
  #hasNewer = false
  /** Where the last scroll of ours left off: any other position is the person's doing. */
  #expectedTopPx = 0
  #widthPx = 0
  #isReflowed = false
  /** The sizes that the end was last reached with; a few pixels of scrolling near the end are left alone while they last. */
  #endedAt = { contentPx: -1, framePx: -1 }
  #roomBeforePx = 0
  #roomAfterPx = 0

  get place(): Place {
    return this.#place
  }

  get isAtEnd(): boolean {
    return this.#place.isAtEnd
  }

  attach(scroller: HTMLElement, list: HTMLElement): () => void {
    this.#scroller = scroller
    this.#list = list
    this.#expectedTopPx = scroller.scrollTop
    return () => {
      this.#scroller = undefined
      this.#list = undefined
    }
  }

  /** Takes what has just been drawn, before its layout is read. */
  setRows(rows: readonly RowName[], keys: readonly string[], range: RowRange, hasNewer: boolean): void {
    if (rows !== this.#rows) this.#indexes = new Map(keys.map((key, index) => [key, index]))
    this.#rows = rows
    this.#range = range
    this.#hasNewer = hasNewer
    this.heights.setKeys(keys)
  }

  /** The place as a person or a command wants it; true after the next restore. */
  wantEnd(): void {
    this.#place = { ...this.#place, isAtEnd: true }
    this.#endedAt = { contentPx: -1, framePx: -1 }
  }

  /** `offsetPx` is measured from the top of the list. */
  wantRow(row: RowName, offsetPx: number): void {
    const top = this.#scroller?.getBoundingClientRect().top ?? 0
    this.#place = { isAtEnd: false, row, topPx: top + offsetPx, heightPx: 0 }
  }

  get frameTopPx(): number {
    return this.#scroller?.getBoundingClientRect().top ?? 0
  }

  get viewportPx(): number {
    return this.#scroller?.clientHeight ?? 0
  }

  /** A scroll event. Returns true when it was the person's doing, and takes the new place from the screen. */
  takeScroll(): boolean {
    const scroller = this.#scroller
    if (scroller === undefined || Math.abs(scroller.scrollTop - this.#expectedTopPx) < 1) return false
    const wasAtEnd = this.#place.isAtEnd
    const isUp = scroller.scrollTop < this.#expectedTopPx
    this.#expectedTopPx = scroller.scrollTop
    this.takePlace()
    // Only scrolling up leaves the end: what arrives fast makes room below before it is followed.
    if (wasAtEnd && !isUp && !this.#hasNewer) this.#place = { ...this.#place, isAtEnd: true }
    return true
  }

  /** Takes the place from the screen: the first row that begins in its upper half, or the one that fills that. */
  takePlace(): void {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || list.children.length === 0) return
    const frame = scroller.getBoundingClientRect()
    const index = firstChildWhere(list, (rect) => rect.top >= frame.top - 1)
    const last = list.children.length - 1
    const isBegun = index <= last && (childRect(list, index)?.top ?? 0) < frame.top + frame.height / 2
    const shown = isBegun ? index : Math.max(0, index - 1)
    const rect = childRect(list, shown)
    const row = this.#rows[this.#range.from + shown]
    if (rect === undefined || row === undefined) return
    this.#place = { isAtEnd: this.#isEndShown(), row, topPx: rect.top, heightPx: rect.height }
  }

  /** Makes the place true. Reads the layout once, after all writes. */
  restore(): Restored {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || this.#rows.length === 0) return { state: 'right' }
    // The room first: read before that, the layout would be of rows that stand nowhere, and the browser would cut the scroll off.
    this.#setRoom(list)
    this.#takeUnseenScroll(scroller)
    this.#takeWidth(scroller)
    this.#measureNew(list)
    const { isAtEnd, row } = this.#place
    if (isAtEnd || row === undefined) {
      if (this.#range.to < this.#rows.length) {
        const to = this.heights.totalPx
        const range = this.heights.rangeOf(to - this.viewportPx - drawnPx, to)
        return { state: 'draw', range, isUrgent: true }
      }
      const { scrollHeight: contentPx, clientHeight: framePx } = scroller
      if (contentPx !== this.#endedAt.contentPx || framePx !== this.#endedAt.framePx) scroller.scrollTop = contentPx
      this.#endedAt = { contentPx, framePx }
    } else {
      const index = this.#indexes.get(row.key)
      if (index === undefined) return { state: 'lost', place: this.#place }
      const rect = childRect(list, index - this.#range.from)
      if (rect === undefined) return { state: 'draw', range: this.#rangeAround(index), isUrgent: true }
      const byPx = rect.top - this.#topWanted(rect, scroller)
      if (Math.abs(byPx) >= 0.5) scroller.scrollTop += byPx
    }
    this.#expectedTopPx = scroller.scrollTop
    return this.#toDraw() ?? this.#settle()
  }

  /** The rows on the screen: the first that shows below `gutterPx`, and the last that shows to its end. */
  shown(gutterPx: number, slackPx: number): ShownRows | undefined {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || list.children.length === 0) return undefined
    const frame = scroller.getBoundingClientRect()
    const first = firstChildWhere(list, (rect) => rect.bottom > frame.top + gutterPx)
    const last = firstChildWhere(list, (rect) => rect.bottom > frame.bottom + slackPx) - 1
    const firstTopPx = (childRect(list, first)?.top ?? frame.top) - frame.top
    return {
      first: this.#range.from + first,
      last: this.#range.from + last,
      firstTopPx,
      scrolledPx: scroller.scrollTop,
    }
  }

  childAt(index: number): HTMLElement | undefined {
    const child = this.#list?.children[index - this.#range.from]
    return child instanceof HTMLElement ? child : undefined
  }

  /** Brings a drawn row into the screen by the shortest way, as the person's own scrolling. */
  reveal(index: number): void {
    const scroller = this.#scroller
    const rect = this.childAt(index)?.getBoundingClientRect()
    if (scroller === undefined || rect === undefined) return
    const frame = scroller.getBoundingClientRect()
    if (rect.top < frame.top) scroller.scrollTop += rect.top - frame.top
    else if (rect.bottom > frame.bottom)
      scroller.scrollTop += Math.min(rect.bottom - frame.bottom, rect.top - frame.top)
    this.#expectedTopPx = scroller.scrollTop
    this.takePlace()
  }

  /** The observer saw a row change its size. */
  takeSize(element: Element, heightPx: number): void {
    const key = element instanceof HTMLElement ? element.dataset['key'] : undefined
    const index = key === undefined ? undefined : this.#indexes.get(key)
    if (index !== undefined) this.heights.setHeight(index, heightPx)
  }

  /** Lines break anew when the width changes, so no height holds any more. */
  #takeWidth(scroller: HTMLElement): void {
    const widthPx = scroller.clientWidth
    const before = this.#widthPx
    this.#isReflowed = before !== 0 && widthPx !== before
    this.#widthPx = widthPx
    if (this.#isReflowed) this.heights.clear()
  }

  #topWanted(rect: DOMRect, scroller: HTMLElement): number {
    const { topPx, heightPx } = this.#place
    const frameTopPx = scroller.getBoundingClientRect().top
    if (!this.#isReflowed || topPx >= frameTopPx || heightPx === 0) return topPx
    const wantedPx = frameTopPx - ((frameTopPx - topPx) * rect.height) / heightPx
    this.#place = { ...this.#place, topPx: wantedPx, heightPx: rect.height }
    return wantedPx
  }

  /** The rows that are missing near the screen; undefined when all are drawn. */
  #toDraw(): Restored | undefined {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined) return undefined
    const { from, to } = this.#range
    const frame = scroller.getBoundingClientRect()
    const rect = list.getBoundingClientRect()
    // In the coordinates of the rows, as far as they are known: the drawn rows' own place is exact.
    const drawnTopPx = rect.top + this.#roomBeforePx
    const drawnBottomPx = rect.bottom - this.#roomAfterPx
    const isShort =
      (from > 0 && drawnTopPx > frame.top - neededPx) ||
      (to < this.#rows.length && drawnBottomPx < frame.bottom + neededPx)
    const isLong = frame.top - drawnTopPx > keptPx || drawnBottomPx - frame.bottom > keptPx
    if (!isShort && !isLong) return undefined
    const viewTopPx = this.heights.topOf(from) + frame.top - drawnTopPx
    const range = this.heights.rangeOf(viewTopPx - drawnPx, viewTopPx + frame.height + drawnPx)
    if (range.from === from && range.to === to) return undefined
    const isAway = drawnTopPx > frame.bottom || drawnBottomPx < frame.top
    if (isAway && !this.#place.isAtEnd) {
      // Dragged far away: what is read now is none of the rows that are drawn.
      const index = this.heights.indexAt(viewTopPx)
      const row = this.#rows[index]
      const topPx = frame.top + this.heights.topOf(index) - viewTopPx
      if (row !== undefined) this.#place = { isAtEnd: false, row, topPx, heightPx: 0 }
    } else if (this.#place.row !== undefined && !this.#place.isAtEnd) {
      // The row being read stays in the page, or its place could not be kept.
      const index = this.#indexes.get(this.#place.row.key)
      if (index !== undefined && (index < range.from || index >= range.to)) this.takePlace()
    }
    return { state: 'draw', range, isUrgent: drawnTopPx > frame.top || drawnBottomPx < frame.bottom }
  }

  #setRoom(list: HTMLElement): void {
    this.#roomBeforePx = this.heights.topOf(this.#range.from)
    this.#roomAfterPx = this.heights.totalPx - this.heights.topOf(this.#range.to)
    list.style.paddingTop = `${this.#roomBeforePx}px`
    list.style.paddingBottom = `${this.#roomAfterPx}px`
  }

  /** Rows that have just come into the page are measured together, after one layout. */
  #measureNew(list: HTMLElement): void {
    for (let index = this.#range.from; index < this.#range.to; index += 1) {
      if (this.heights.isMeasured(index)) continue
      const rect = childRect(list, index - this.#range.from)
      if (rect !== undefined) this.heights.setHeight(index, rect.height)
    }
  }

  /** Scrolled by the person, and drawn anew before the event came. What the browser cut off at the end is no scrolling. */
  #takeUnseenScroll(scroller: HTMLElement): void {
    const byPx = scroller.scrollTop - this.#expectedTopPx
    if (Math.abs(byPx) < 1) return
    const isCutOff = byPx < 0 && scroller.scrollTop >= scroller.scrollHeight - scroller.clientHeight - 1
    if (isCutOff) {
      this.#endedAt = { contentPx: -1, framePx: -1 }
      return
    }
    this.#expectedTopPx = scroller.scrollTop
    const { isAtEnd, topPx } = this.#place
    this.#place = { ...this.#place, isAtEnd: isAtEnd && byPx > -atEndPx, topPx: topPx - byPx }
  }

  /** What is true now that everything stands: a list that shows its last row is at its end. */
  #settle(): Restored {
    if (this.#place.isAtEnd) {
      this.takePlace()
      if (!this.#hasNewer) this.#place = { ...this.#place, isAtEnd: true }
    } else if (this.#isEndShown()) this.#place = { ...this.#place, isAtEnd: true }
    return { state: 'right' }
  }

  #isEndShown(): boolean {
    const scroller = this.#scroller
    if (scroller === undefined || this.#hasNewer || this.#range.to < this.#rows.length) return false
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= atEndPx
  }

  #rangeAround(index: number): RowRange {
    const top = this.heights.topOf(index)
    return this.heights.rangeOf(top - this.viewportPx - drawnPx, top + this.viewportPx + drawnPx)
  }
}

function childRect(list: HTMLElement, index: number): DOMRect | undefined {
  return list.children[index]?.getBoundingClientRect()
}

/** Rows stand one below the other, so the first of a kind is found without looking at all of them. */
function firstChildWhere(list: HTMLElement, isAfter: (rect: DOMRect) => boolean): number {
  let low = 0
  let high = list.children.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const rect = childRect(list, middle)
    if (rect !== undefined && !isAfter(rect)) low = middle + 1
    else high = middle
  }
  return low
}
