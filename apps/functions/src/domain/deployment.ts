/** A function of an app with the version that was current. */
export interface DeployedVersion {
  function_id: string;
  name: string;
  version: number;
}

/** Whether two deployments hold the same functions at the same versions. */
export const isSameDeployment = (
  one: readonly DeployedVersion[],
  other: readonly DeployedVersion[],
): boolean => {
  const versions = new Map(one.map(({ function_id, version }) => [function_id, version]));
  return (
    one.length === other.length &&
    other.every(({ function_id, version }) => versions.get(function_id) === version)
  );
};

/**
 * The number that a rollback without a number goes back to, given the last deployment: the one before it. What is itself a
 * rollback counts as what it went back to, so that two in a row go back two. 0: there is none before.
 */
export const numberBefore = ({
  number,
  rollback_of,
}: {
  number: number;
  rollback_of: number | null;
}): number => (rollback_of ?? number) - 1;
