import { DataTypes, type Sequelize } from "sequelize";

/** The tables sessions and refresh_tokens, as migration 0001 makes them. */
export function defineSessions(sequelize: Sequelize) {
  const sessions = sequelize.define("sessions", {
    id: { type: DataTypes.UUID, primaryKey: true },
    userId: { type: DataTypes.UUID, allowNull: false },
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
    expiresAt: { type: DataTypes.DATE(3), allowNull: false },
    endedAt: DataTypes.DATE(3),
    endReason: DataTypes.TEXT,
  });
  const refreshTokens = sequelize.define("refresh_tokens", {
    tokenHash: { type: DataTypes.BLOB, primaryKey: true },
    sessionId: { type: DataTypes.UUID, allowNull: false },
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
    usedAt: DataTypes.DATE(3),
  });
  return { sessions, refreshTokens };
}
