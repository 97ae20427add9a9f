import { DataTypes, type Sequelize } from "sequelize";

export const AVAILABLE_EVENTS_TABLE = "available_events";

/** The table available_events, as migration 0002 makes it. */
export function defineAvailableEvent(sequelize: Sequelize) {
  return sequelize.define(AVAILABLE_EVENTS_TABLE, {
    id: { type: DataTypes.UUID, primaryKey: true },
    name: { type: DataTypes.TEXT, allowNull: false },
    category: { type: DataTypes.TEXT, allowNull: false },
    description: { type: DataTypes.TEXT, allowNull: false },
    defaultCapacity: { type: DataTypes.INTEGER, allowNull: false },
    defaultDurationMinutes: { type: DataTypes.INTEGER, allowNull: false },
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
    updatedAt: { type: DataTypes.DATE(3), allowNull: false },
  });
}
