with Q1 as (with W1 as (select ORDER_ID, STATUS from SHOP.SALES.ORDERS ORDERS) select * from W1 where STATUS <> 'void'), Q2 as (select ORDER_ID from Q1) select ORDER_ID "Order Id" from Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}