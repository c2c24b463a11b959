/** Whether a path of a tree stays inside the folder that the tree is written to. Sync checks it too; disks are forever. */
export const isPathInside = (path: string): boolean =>
  path !== '' &&
  !path.startsWith('/') &&
  !path.includes('\0') &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
