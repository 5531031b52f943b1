/**
 * The check that folders do not import each other in a circle. Tests are left out: a test may join
 * any parts.
 */
import files from './.dependency-cruiser.mjs'

export default {
  forbidden: [
    {
      name: 'no-folder-cycles',
      comment: 'Folders that import each other are one folder with two names. Move what both need into a third.',
      severity: 'error',
      scope: 'folder',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    ...files.options,
    exclude: {
      path: ['/dist/', '^data/', '^docs/', '[.](test|suite)[.]tsx?$', '/testing/', '^tests/', 'node_modules'],
    },
  },
}
