select ORDER_ID "Order Id", STATUS "Status", CAST_TIMESTAMP_TO_DATETIME_7 "Ordered At" from (select ORDER_ID, STATUS, ORDERED_AT::timestamp_ltz CAST_TIMESTAMP_TO_DATETIME_7 from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1) Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}