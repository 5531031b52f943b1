/** Tests the commands of a running cluster and their error lines. */
import { expect, it } from 'vitest'
import { readClusterCommand } from './cluster-commands.ts'

it.each([
  ['add', { kind: 'add' }],
  [' kill 2 ', { kind: 'kill', server: 2 }],
  ['start\t12', { kind: 'start', server: 12 }],
  ['', { kind: 'nothing' }],
])('a running cluster understands the command %j', (line, command) => {
  expect(readClusterCommand(line)).toEqual(command)
})

it.each(['kill', 'kill all', 'start 2 3', 'add 1', 'start -1', 'quit'])(
  'a running cluster refuses the command %j with one line',
  (line) => {
    const answer = readClusterCommand(line)
    expect(answer).toMatch(/^unable to run .*; commands: add/)
    expect(answer).not.toContain('\n')
  },
)
