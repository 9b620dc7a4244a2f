select "limit" "Limit 1000", Q1.LIMIT_2 "limit 1000", Q1."LIMIT" "-- Sigma limit 1000" from (select ORDER_ID "limit", AMOUNT LIMIT_2, STATUS "LIMIT", 'limit 1000) limit 1000' T from SHOP.SALES.ORDERS ORDERS) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}