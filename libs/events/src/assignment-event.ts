/**
 * A node's runner is told that its assignments changed: BERTH_ASSIGNMENTS. A hint; the truth is what
 * `scheduler.ListAssignments` answers.
 */

/** Where `scheduler` publishes for a node; what that node's runner consumes. */
export const assignmentSubject = (nodeId: string): string => `berth.assignments.${nodeId}`;

/** The durable consumer of one node. */
export const assignmentConsumerName = (nodeId: string): string => `assignments-${nodeId}`;
